// From the end of the last request to the return of Shutdown, in nanoseconds, one a line.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const servers = 100

func main() {
	var all sync.WaitGroup
	late := make([]time.Duration, servers)
	for i := range servers {
		all.Add(1)
		go func() {
			defer all.Done()
			// Requests end at any time of the first two seconds after Shutdown was called.
			late[i] = once(time.Duration(2*i+1) * time.Second / servers)
		}()
	}
	all.Wait()
	for _, d := range late {
		fmt.Println(d.Nanoseconds())
	}
}

func once(work time.Duration) time.Duration {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	begun := make(chan struct{})
	var ended time.Time
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		time.Sleep(work)
		ended = time.Now()
	})}
	go server.Serve(listener)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		response, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			panic(err)
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}()
	<-begun
	if err := server.Shutdown(context.Background()); err != nil {
		panic(err)
	}
	late := time.Since(ended)
	<-answered
	return late
}
