// Package devnats is the NATS server inside `deacon dev`: loopback only, no
// storage, gone with the process. Nothing else of the product links a server.
package devnats

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

const (
	// PortUsual is where every client of this command line looks first.
	PortUsual = 4222
	// PortAny is whichever is free.
	PortAny = server.RANDOM_PORT
)

const readyMax = 10 * time.Second

// Server is a running NATS server.
type Server struct{ server *server.Server }

// Start runs a server on the port; 0 means the usual one or, where that is
// taken, any other. A port that was asked for and is taken is an error.
func Start(port int) (*Server, error) {
	if port == 0 {
		port = freePort()
	}
	if port != PortAny {
		if err := probe(port); err != nil {
			return nil, fmt.Errorf("devnats: listen: %w", err)
		}
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "deacon-dev", Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, fmt.Errorf("devnats: make the server: %w", err)
	}
	go s.Start()
	if !s.ReadyForConnections(readyMax) {
		s.Shutdown()
		return nil, fmt.Errorf("devnats: the server was not ready within %s", readyMax)
	}
	return &Server{s}, nil
}

// freePort prefers the usual port.
func freePort() int {
	if probe(PortUsual) == nil {
		return PortUsual
	}
	return PortAny
}

// probe tells whether the port can be listened on. The server itself would
// end the whole process over a taken port, or say nothing.
func probe(port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("port %d is in use: %w", port, unix.EADDRINUSE)
	}
	if err != nil {
		return err
	}
	return l.Close()
}

// URL is where clients connect.
func (s *Server) URL() string { return s.server.ClientURL() }

// Stop ends the server and returns when it is gone.
func (s *Server) Stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}
