// A stream hub as one writes it in Go: what towpath's fan-out is measured
// beside. It sends each line of its standard input to every client: a channel
// for each, and a Write and a Flush for each line. A full channel makes the hub
// wait, so that nothing is lost.
//
// It prints its address, and ends with its input.
package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
)

// What a client's channel holds: small, as there may be a thousand of them.
const waitingLines = 64

type hub struct {
	mutex   sync.Mutex
	clients map[chan []byte]struct{}
}

func (h *hub) join() chan []byte {
	lines := make(chan []byte, waitingLines)
	h.mutex.Lock()
	h.clients[lines] = struct{}{}
	h.mutex.Unlock()
	return lines
}

func (h *hub) leave(lines chan []byte) {
	// A send to this client may be under way, and holds the lock: take it off.
	go func() {
		for range lines {
		}
	}()
	h.mutex.Lock()
	delete(h.clients, lines)
	h.mutex.Unlock()
	close(lines)
}

func (h *hub) send(line []byte) {
	h.mutex.Lock()
	for lines := range h.clients {
		lines <- line
	}
	h.mutex.Unlock()
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	flusher := w.(http.Flusher)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	flusher.Flush()
	lines := h.join()
	defer h.leave(lines)
	for {
		select {
		case line := <-lines:
			if _, err := w.Write(line); err != nil {
				return
			}
			flusher.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s/\n", listener.Addr())
	h := &hub{clients: make(map[chan []byte]struct{})}
	go func() { log.Fatal(http.Serve(listener, h)) }()
	input := bufio.NewReaderSize(os.Stdin, 64*1024)
	for {
		line, err := input.ReadBytes('\n')
		if err != nil {
			return
		}
		h.send(line)
	}
}
