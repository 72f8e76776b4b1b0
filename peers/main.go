// Go's net/http, stopped as its documentation says: Shutdown on SIGTERM, and main waits for it.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// millis reads a setting of the meter.
func millis(name string, otherwise int) time.Duration {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		otherwise = n
	}
	return time.Duration(otherwise) * time.Millisecond
}

// tunnel echoes on a hijacked connection, which Shutdown neither closes nor waits for.
func tunnel(w http.ResponseWriter) {
	connection, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer connection.Close()
	io.WriteString(connection, "HTTP/1.1 200 OK\r\n\r\n")
	io.Copy(connection, buffered)
}

func answer(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		tunnel(w)
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	number := func(i int) int {
		if i >= len(parts) {
			return 0
		}
		n, _ := strconv.Atoi(parts[i])
		return n
	}
	switch parts[0] {
	case "sleep":
		time.Sleep(time.Duration(number(1)) * time.Millisecond)
		io.WriteString(w, "slept\n")
	case "stream":
		for i := 0; i < number(1); i++ {
			time.Sleep(time.Duration(number(2)) * time.Millisecond)
			io.WriteString(w, "chunk\n")
			w.(http.Flusher).Flush()
		}
	case "bytes":
		w.Header().Set("Content-Length", parts[1])
		piece := make([]byte, 65536)
		for left := number(1); left > 0; left -= len(piece) {
			w.Write(piece[:min(left, len(piece))])
		}
	case "full":
		w.Header().Set("Content-Length", parts[1])
		w.Write(make([]byte, number(1)))
	case "echo":
		io.Copy(w, r.Body)
	case "reject":
		w.WriteHeader(http.StatusUnauthorized)
	default:
		io.WriteString(w, "hello\n")
	}
}

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	server := &http.Server{Handler: http.HandlerFunc(answer), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	server.IdleTimeout = millis("IDLE_MS", 0)
	fmt.Println("listening on", listener.Addr())
	go server.Serve(listener)
	<-signals
	ctx, cancel := context.WithTimeout(context.Background(), millis("GRACE_MS", 15000))
	defer cancel()
	fmt.Fprintln(os.Stderr, "shutdown:", server.Shutdown(ctx))
}
