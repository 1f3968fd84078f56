package ledger

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// nodeHeader carries the name of the node that answers.
const nodeHeader = "X-Node"

// mostLine bounds a line, bytes.
const mostLine = 4 << 10

// book is the file that the service writes.
type book struct {
	node string
	path string

	mu   sync.Mutex // guards the file: one line is written at a time
	file *os.File
}

// ServeMain runs the service until SIGTERM:
//
//	-listen ADDRESS   where to answer, as 10.0.0.10:80; it is waited for
//	-file PATH        the file to append to
//	-node NAME        the node that it says it is on; default: $HOLDFAST_NODE
func ServeMain(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	listen := flags.String("listen", "", "address and port to answer at")
	path := flags.String("file", "", "file to append to")
	node := flags.String("node", os.Getenv("HOLDFAST_NODE"), "name of this node")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *listen == "" || *path == "" || flags.NArg() > 0 {
		return errors.New("serve: want -listen ADDRESS -file PATH and no arguments")
	}
	b, err := openBook(*path, *node)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return errors.Join(err, b.file.Close())
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	server := &http.Server{Handler: b.handler(), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }() // ends with the server
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = server.Close()
	}
	return errors.Join(err, b.file.Close())
}

// openBook opens the file for appending. A write that a power loss cut off in
// its middle left a piece of a line; a line break keeps it apart from the next.
func openBook(path, node string) (*book, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.Size() > 0 {
		last := make([]byte, 1)
		if _, err = f.ReadAt(last, st.Size()-1); err == nil && last[0] != '\n' {
			_, err = f.WriteString("\n")
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &book{node: node, path: path, file: f}, nil
}

func (b *book) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /append", func(w http.ResponseWriter, r *http.Request) {
		line, err := io.ReadAll(io.LimitReader(r.Body, mostLine))
		if err == nil {
			err = b.append(line)
		}
		b.answer(w, nil, err)
	})
	mux.HandleFunc("GET /read", func(w http.ResponseWriter, _ *http.Request) {
		text, err := os.ReadFile(b.path)
		b.answer(w, text, err)
	})
	return mux
}

func (b *book) answer(w http.ResponseWriter, text []byte, err error) {
	w.Header().Set(nodeHeader, b.node)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(text) // a client that went away knows nothing, and counts nothing
}

// append writes a line and returns once it is on the disk.
func (b *book) append(line []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	line = append(bytes.TrimRight(line, "\n"), '\n')
	if _, err := b.file.Write(line); err != nil {
		return err
	}
	return b.file.Sync()
}

// WriteMain holds PATH open and appends to it, one line and one fsync for every
// line that it reads from standard input; it answers each with "ok" or "error:"
// and the reason. The tests stop it, take its node's power, and let it go on.
func WriteMain(args []string) error {
	if len(args) != 1 {
		return errors.New("write: want the PATH of a file")
	}
	f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	// The process that started it may be gone when it writes its last answer.
	signal.Ignore(syscall.SIGPIPE)
	fmt.Println("ready")
	lines := lineReader(os.Stdin)
	for line := range lines {
		_, err := f.WriteString(line + "\n")
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			fmt.Println("error: " + err.Error())
		} else {
			fmt.Println("ok")
		}
	}
	return f.Close()
}
