// Go's upload servers as peers: a part of the tests.
//
//	upload parse DIR     ParseMultipartForm, which spools to disk
//	upload stream DIR    MultipartReader, part after part
//
// It prints its address, stores each file in DIR, and each field in DIR/NAME.field.
package main

import (
	"fmt"
	"io"
	"log"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func store(name string, from io.Reader) {
	file, err := os.Create(filepath.Join(os.Args[2], filepath.Base(name)))
	check(err)
	_, err = io.Copy(file, from)
	check(err)
	check(file.Close())
}

func parse(w http.ResponseWriter, r *http.Request) {
	check(r.ParseMultipartForm(1 << 20))
	for name, values := range r.MultipartForm.Value {
		for _, value := range values {
			check(os.WriteFile(filepath.Join(os.Args[2], name+".field"), []byte(value), 0o600))
		}
	}
	for _, headers := range r.MultipartForm.File {
		for _, header := range headers {
			var file multipart.File
			file, err := header.Open()
			check(err)
			store(header.Filename, file)
		}
	}
	fmt.Fprintln(w, "stored")
}

func stream(w http.ResponseWriter, r *http.Request) {
	form, err := r.MultipartReader()
	check(err)
	for {
		part, err := form.NextPart()
		if err == io.EOF {
			break
		}
		check(err)
		if part.FileName() == "" {
			store(part.FormName()+".field", part)
		} else {
			store(part.FileName(), part)
		}
	}
	fmt.Fprintln(w, "stored")
}

func main() {
	handler := stream
	if os.Args[1] == "parse" {
		handler = parse
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(listener.Addr())
	check(http.Serve(listener, http.HandlerFunc(handler)))
}
