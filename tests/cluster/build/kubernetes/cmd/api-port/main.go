// api-port makes the API server, which listens only inside its node's network namespace, answer on a port out here.
//
//	api-port LISTEN NETNS-FILE DIAL
//
// A socket stays in the namespace of the thread that made it, so one process can hold both ends, and the host gets no address,
// route or rule. Go copies TCP to TCP by splice(2): the bytes never enter this process.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: api-port LISTEN NETNS-FILE DIAL")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", os.Args[1])
	fatal(err)
	netns, err := os.Open(os.Args[2])
	fatal(err)
	dial := dialIn(netns, os.Args[3])
	for {
		here, err := listener.Accept()
		if err != nil { // such as too many open files
			fmt.Fprintln(os.Stderr, "api-port:", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		go func() {
			defer here.Close()
			there, err := dial()
			if err != nil {
				fmt.Fprintln(os.Stderr, "api-port:", err)
				return
			}
			defer there.Close()
			join(here.(*net.TCPConn), there.(*net.TCPConn))
		}()
	}
}

// dialIn returns a function that connects to address inside netns.
func dialIn(netns *os.File, address string) func() (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	asks := make(chan chan result)
	go func() {
		// A thread that changed its namespace must never run anything else: it stays locked for good.
		runtime.LockOSThread()
		fatal(unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET))
		for ask := range asks {
			conn, err := net.Dial("tcp", address) // one after another is no loss: the node's own address answers at once
			ask <- result{conn, err}
		}
	}()
	return func() (net.Conn, error) {
		ask := make(chan result, 1)
		asks <- ask
		r := <-ask
		return r.conn, r.err
	}
}

// join copies both ways and passes each side's end of stream on.
func join(a, b *net.TCPConn) {
	var both sync.WaitGroup
	pass := func(to, from *net.TCPConn) {
		defer both.Done()
		io.Copy(to, from) //nolint:errcheck // the peers see it as a closed connection
		to.CloseWrite()   //nolint:errcheck
		from.CloseRead()  //nolint:errcheck
	}
	both.Add(2)
	go pass(a, b)
	go pass(b, a)
	both.Wait()
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "api-port:", err)
		os.Exit(1)
	}
}
