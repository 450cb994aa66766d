// Upload servers as one writes them in Go: what towpath serve is measured beside.
//
//	stream DIR   MultipartReader, and io.Copy of each file
//	form DIR     ParseMultipartForm, and io.Copy of each file out of it
//
// It prints its address.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

var dir string

func store(name string, from io.Reader) error {
	file, err := os.Create(filepath.Join(dir, filepath.Base(name)))
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(file, from)
	return err
}

func stream(r *http.Request) error {
	parts, err := r.MultipartReader()
	if err != nil {
		return err
	}
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if part.FileName() == "" {
			continue
		}
		if err := store(part.FileName(), part); err != nil {
			return err
		}
	}
}

func form(r *http.Request) error {
	if err := r.ParseMultipartForm(32 << 20); err != nil {
		return err
	}
	defer r.MultipartForm.RemoveAll()
	for _, headers := range r.MultipartForm.File {
		for _, header := range headers {
			file, err := header.Open()
			if err != nil {
				return err
			}
			err = store(header.Filename, file)
			file.Close()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func main() {
	handle := map[string]func(*http.Request) error{"stream": stream, "form": form}[os.Args[1]]
	dir = os.Args[2]
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s/\n", listener.Addr())
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := handle(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})))
}
