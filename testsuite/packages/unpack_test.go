package packages

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// entry is a file of a package.
type entry struct {
	mode fs.FileMode
	link string // what a symbolic link leads to
	body []byte
}

// unpackDeb reads an ar archive (deb(5)): a version, the control files, the data.
func unpackDeb(deb []byte) (control, data map[string]entry, err error) {
	const magic, header = "!<arch>\n", 60
	rest, found := bytes.CutPrefix(deb, []byte(magic))
	if !found {
		return nil, nil, errors.New("no ar archive")
	}
	for len(rest) >= header {
		name := strings.TrimRight(string(rest[:16]), " /")
		size, err := strconv.Atoi(strings.TrimSpace(string(rest[48:58])))
		if err != nil || header+size > len(rest) {
			return nil, nil, fmt.Errorf("%s has no size", name)
		}
		body := rest[header : header+size]
		rest = rest[min(len(rest), header+size+size%2):]
		switch name {
		case "control.tar.gz":
			control, err = unpackTar(body)
		case "data.tar.gz":
			data, err = unpackTar(body)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return control, data, nil
}

func unpackTar(body []byte) (map[string]entry, error) {
	zip, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	files := map[string]entry{}
	for archive := tar.NewReader(zip); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			return nil, err
		}
		files[path.Join("/", h.Name)] = entry{h.FileInfo().Mode(), h.Linkname, content}
	}
}

// rpm's numbers: a lead, then two headers of which the first is padded to 8 bytes,
// then the payload.
const (
	leadBytes   = 96
	introBytes  = 16
	indexBytes  = 16
	tagPrein    = 1023
	tagPostin   = 1024
	tagPreun    = 1025
	tagPostun   = 1026
	tagVersion  = 1001
	tagFlags    = 1037 // of each file
	configFlag  = 1    // RPMFILE_CONFIG
	noReplace   = 16   // RPMFILE_NOREPLACE
	tagBaseName = 1117
)

// header is an rpm header: where each tag's value is.
type header struct {
	offsets map[uint32]uint32
	counts  map[uint32]uint32
	store   []byte
}

func readHeader(rpm []byte) (h header, size int, err error) {
	if len(rpm) < introBytes || !bytes.HasPrefix(rpm, []byte{0x8e, 0xad, 0xe8, 1}) {
		return h, 0, errors.New("no rpm header")
	}
	count, stored := int(binary.BigEndian.Uint32(rpm[8:])), int(binary.BigEndian.Uint32(rpm[12:]))
	size = introBytes + count*indexBytes + stored
	if count > 1<<16 || size > len(rpm) {
		return h, 0, errors.New("an rpm header that is longer than its file")
	}
	h = header{map[uint32]uint32{}, map[uint32]uint32{}, rpm[size-stored : size]}
	for i := range count {
		index := rpm[introBytes+i*indexBytes:]
		tag := binary.BigEndian.Uint32(index)
		h.offsets[tag], h.counts[tag] = binary.BigEndian.Uint32(index[8:]), binary.BigEndian.Uint32(index[12:])
	}
	return h, size, nil
}

func (h header) texts(tag uint32) []string {
	rest := h.store[h.offsets[tag]:]
	var all []string
	for range h.counts[tag] {
		text, after, _ := bytes.Cut(rest, []byte{0})
		all, rest = append(all, string(text)), after
	}
	return all
}

func (h header) text(tag uint32) string { return strings.Join(h.texts(tag), "") }

func (h header) number(tag uint32, i int) uint32 {
	return binary.BigEndian.Uint32(h.store[int(h.offsets[tag])+4*i:])
}

func unpackRPM(rpm []byte) (h header, data map[string]entry, err error) {
	if len(rpm) < leadBytes || !bytes.HasPrefix(rpm, []byte{0xed, 0xab, 0xee, 0xdb}) {
		return h, nil, errors.New("no rpm")
	}
	_, signed, err := readHeader(rpm[leadBytes:])
	if err != nil {
		return h, nil, err
	}
	at := leadBytes + (signed+7)/8*8
	h, size, err := readHeader(rpm[at:])
	if err != nil {
		return h, nil, err
	}
	zip, err := gzip.NewReader(bytes.NewReader(rpm[at+size:]))
	if err != nil {
		return h, nil, err
	}
	payload, err := io.ReadAll(zip)
	if err != nil {
		return h, nil, err
	}
	data, err = unpackCPIO(payload)
	return h, data, err
}

// unpackCPIO reads the "new ASCII" form: 13 numbers of 8 hexadecimal digits behind
// the magic, the name and the content, each padded to 4 bytes.
func unpackCPIO(payload []byte) (map[string]entry, error) {
	const magic, headerBytes = "070701", 110
	files := map[string]entry{}
	for {
		if len(payload) < headerBytes || string(payload[:6]) != magic {
			return nil, errors.New("no cpio archive")
		}
		field := func(i int) int {
			n, _ := strconv.ParseUint(string(payload[6+8*i:14+8*i]), 16, 32)
			return int(n)
		}
		mode, size, nameSize := field(1), field(6), field(11)
		begin := (headerBytes + nameSize + 3) / 4 * 4
		if begin+size > len(payload) || nameSize < 1 {
			return nil, errors.New("a cpio archive that is longer than its file")
		}
		name := string(payload[headerBytes : headerBytes+nameSize-1])
		if name == "TRAILER!!!" {
			return files, nil
		}
		one := entry{mode: fs.FileMode(mode & 0o777), body: payload[begin : begin+size]}
		const kinds, folder, symlink = 0o170000, 0o040000, 0o120000
		switch mode & kinds {
		case folder:
			one.mode |= fs.ModeDir
		case symlink:
			one.mode, one.link = one.mode|fs.ModeSymlink, string(one.body)
		}
		files[path.Join("/", name)] = one
		payload = payload[min(len(payload), (begin+size+3)/4*4):]
	}
}
