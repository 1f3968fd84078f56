package disk

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// Numbers of the NBD protocol, from doc/proto.md of its project.
const (
	initMagic    = 0x4e42444d41474943 // "NBDMAGIC"
	optionMagic  = 0x49484156454f5054 // "IHAVEOPT"
	replyMagic   = 0x3e889045565a9
	requestMagic = 0x25609513
	answerMagic  = 0x67446698

	flagFixed, flagNoZeroes = 1, 2 // of the handshake
	flagHasFlags            = 1    // of the transmission
	flagMultiConn           = 1 << 8

	optAbort, optGo                  = 2, 7
	repAck, repInfo, repNotSupported = 1, 3, 1<<31 | 1
	infoExport                       = 0
	cmdRead, cmdWrite, cmdDisconnect = 0, 1, 2
	greatestRequest                  = 32 << 20
	greatestOption                   = 4096
)

// session is one connection of a machine.
type session struct {
	*export
	conn net.Conn
	gone chan struct{} // closed at the end: a hanging request is thrown away with its machine

	mu sync.Mutex // of answers
}

var errProtocol = errors.New("this is not NBD")

func (s *session) run() {
	var requests sync.WaitGroup
	defer requests.Wait()
	defer close(s.gone)
	defer s.conn.Close()
	in := bufio.NewReaderSize(s.conn, 1<<16)
	if s.greet(in) != nil {
		return
	}
	for {
		r, err := read(in)
		if err != nil || r.command == cmdDisconnect {
			return
		}
		requests.Add(1)
		go func() { // ends with the connection at the latest
			defer requests.Done()
			s.handle(r)
		}()
	}
}

// greet shakes hands as the "fixed newstyle" of the protocol says, and refuses every option but the one that begins.
func (s *session) greet(in io.Reader) error {
	hello := binary.BigEndian.AppendUint64(nil, initMagic)
	hello = binary.BigEndian.AppendUint64(hello, optionMagic)
	hello = binary.BigEndian.AppendUint16(hello, flagFixed|flagNoZeroes)
	if _, err := s.conn.Write(hello); err != nil {
		return err
	}
	var flags uint32
	if err := binary.Read(in, binary.BigEndian, &flags); err != nil {
		return err
	}
	for {
		var option struct {
			Magic          uint64
			Option, Length uint32
		}
		if err := binary.Read(in, binary.BigEndian, &option); err != nil {
			return err
		}
		if option.Magic != optionMagic || option.Length > greatestOption {
			return errProtocol
		}
		if _, err := io.CopyN(io.Discard, in, int64(option.Length)); err != nil {
			return err
		}
		switch option.Option {
		case optGo:
			info := binary.BigEndian.AppendUint16(nil, infoExport)
			info = binary.BigEndian.AppendUint64(info, uint64(s.disk.size))
			info = binary.BigEndian.AppendUint16(info, flagHasFlags|flagMultiConn)
			return errors.Join(s.reply(optGo, repInfo, info), s.reply(optGo, repAck, nil))
		case optAbort:
			return errProtocol
		}
		if err := s.reply(option.Option, repNotSupported, nil); err != nil {
			return err
		}
	}
}

func (s *session) reply(option, kind uint32, data []byte) error {
	b := binary.BigEndian.AppendUint64(nil, replyMagic)
	b = binary.BigEndian.AppendUint32(b, option)
	b = binary.BigEndian.AppendUint32(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	_, err := s.conn.Write(append(b, data...))
	return err
}

type request struct {
	command uint16
	handle  uint64
	offset  int64
	data    []byte // what is written, or room for what is read
}

func read(in io.Reader) (request, error) {
	var head struct {
		Magic          uint32
		Flags, Command uint16
		Handle, Offset uint64
		Length         uint32
	}
	if err := binary.Read(in, binary.BigEndian, &head); err != nil {
		return request{}, err
	}
	if head.Magic != requestMagic || head.Length > greatestRequest {
		return request{}, errProtocol
	}
	r := request{head.Command, head.Handle, int64(head.Offset), make([]byte, head.Length)}
	if head.Command != cmdWrite {
		return r, nil
	}
	_, err := io.ReadFull(in, r.data)
	return r, err
}

// handle carries out one request, after what the fault does to it.
func (s *session) handle(r request) {
	errno, here := s.suffer(r.command)
	if !here {
		return
	}
	var err error
	copied := s.instead()
	switch {
	case errno != 0:
	case r.command == cmdRead && copied != nil:
		_, err = copied.ReadAt(r.data, r.offset)
	case r.command == cmdRead:
		_, err = s.disk.file.ReadAt(r.data, r.offset)
	case r.command == cmdWrite && copied != nil:
		_, err = copied.WriteAt(r.data, r.offset)
	case r.command == cmdWrite:
		err = s.disk.land(s.machine, r)
	default:
		errno = syscall.EINVAL
	}
	if err != nil {
		errno = syscall.EIO
	}
	b := binary.BigEndian.AppendUint32(nil, answerMagic)
	b = binary.BigEndian.AppendUint32(b, uint32(errno))
	b = binary.BigEndian.AppendUint64(b, r.handle)
	if r.command == cmdRead && errno == 0 {
		b = append(b, r.data...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.conn.Write(b) // the machine may be off
}

// suffer waits as long as the fault says, and gives the error to answer with. A request whose machine is gone meanwhile is
// thrown away.
func (s *session) suffer(command uint16) (errno syscall.Errno, here bool) {
	s.export.mu.Lock()
	dropped := s.dropped
	s.export.mu.Unlock()
	for {
		s.export.mu.Lock()
		f, changed := s.fault, s.changed
		s.export.mu.Unlock()
		select {
		case <-dropped: // while it was held back
			return syscall.EIO, true
		default:
		}
		if command == cmdRead && f.Reading {
			return 0, true
		}
		var wait <-chan time.Time
		if !f.Hang {
			if f.Delay == 0 {
				return f.Error, true
			}
			wait = time.After(f.Delay)
		}
		select {
		case <-changed:
		case <-wait:
			return f.Error, true
		case <-s.gone:
			return 0, false
		}
	}
}
