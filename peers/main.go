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

func answer(w http.ResponseWriter, r *http.Request) {
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
	server := &http.Server{Handler: http.HandlerFunc(answer)}
	fmt.Println("listening on", listener.Addr())
	go server.Serve(listener)
	<-signals
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	fmt.Fprintln(os.Stderr, "shutdown:", server.Shutdown(ctx))
}
