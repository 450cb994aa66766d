// Go's mime/multipart as a peer: a part of the tests.
//
//	form send URL FILE    posts a form of fields and files, the file among them
//	form read TYPE        reads a body of this Content-Type from standard input,
//	                      prints a line of JSON a part
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func send(url, path string) {
	file, err := os.Open(path)
	check(err)
	body, pipe := io.Pipe()
	form := multipart.NewWriter(pipe)
	go func() {
		check(form.WriteField("comment", "grün & \"quoted\"\r\nline"))
		for _, name := range []string{"a;b.txt", `x"y.bin`, "grün.txt"} {
			part, err := form.CreateFormFile("file", name)
			check(err)
			_, err = file.Seek(0, io.SeekStart)
			check(err)
			_, err = io.Copy(part, file)
			check(err)
		}
		check(form.WriteField("last", ""))
		check(form.Close())
		pipe.Close()
	}()
	reply, err := http.Post(url, form.FormDataContentType(), body)
	check(err)
	if reply.StatusCode != 200 {
		check(fmt.Errorf("%s", reply.Status))
	}
}

func read(contentType string) {
	_, params, err := mime.ParseMediaType(contentType)
	check(err)
	form := multipart.NewReader(os.Stdin, params["boundary"])
	for {
		part, err := form.NextPart()
		if err == io.EOF {
			return
		}
		check(err)
		hash := sha256.New()
		_, err = io.Copy(hash, part)
		check(err)
		line, err := json.Marshal([]string{part.FormName(), part.FileName(), fmt.Sprintf("%x", hash.Sum(nil))})
		check(err)
		fmt.Println(string(line))
	}
}

func main() {
	if os.Args[1] == "send" {
		send(os.Args[2], os.Args[3])
	} else {
		read(os.Args[2])
	}
}
