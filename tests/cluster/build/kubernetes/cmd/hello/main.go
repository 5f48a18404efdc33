// hello is the check's workload: an HTTP server that says which pod answered, and the client that asks it.
//
//	hello serve | get URL | lookup NAME
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

const patience = 5 * time.Second // longer than one lost DNS query, shorter than a person's

func main() {
	verb, argument := "serve", ""
	if len(os.Args) > 1 {
		verb = os.Args[1]
	}
	if len(os.Args) > 2 {
		argument = os.Args[2]
	}
	var err error
	switch verb {
	case "serve":
		err = serve()
	case "get":
		err = get(argument)
	case "lookup":
		err = lookup(argument)
	default:
		err = fmt.Errorf("no such verb: %s", verb)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

func serve() error {
	pod, err := os.Hostname()
	if err != nil {
		return err
	}
	fmt.Println("serving as", pod)
	return http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %s to %s\n", pod, r.RemoteAddr)
	}))
}

func get(url string) error {
	client := http.Client{Timeout: patience}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

func lookup(name string) error {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	fmt.Println(addresses)
	return err
}
