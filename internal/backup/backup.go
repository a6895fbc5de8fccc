// Package backup is the form of a backup: parts with names in one stream, and at its end a manifest with the checksum of each.
//
// The stream is a tar archive: about.json says what follows; then come the parts, of lengths that nobody knows in advance, each as
// one or more entries of the same name; the last entry is manifest.json. A stream without a manifest, or with a part that is
// not as it says, is backup-damaged. The archive is sealed as a whole by whoever writes it (see sealed.Store.SealStream), for the
// parts hold what clients have entrusted (I25). The package knows nothing of databases: backends write and read their parts.
package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/avalhq/aval/internal/problem"
)

// Version of the form that Writer writes and Reader reads.
const Version = 1

// The kinds of backups.
const (
	SQLite   = "sqlite"
	Postgres = "postgresql"
)

const (
	aboutName    = "about.json"
	manifestName = "manifest.json"
	chunk        = 4 << 20 // bytes of a part that are held in memory
)

// About says what a backup is of.
type About struct {
	Version  int       `json:"version"`
	Kind     string    `json:"kind"`
	Level    int64     `json:"level"`   // of the schema
	Program  string    `json:"program"` // that wrote it
	Made     time.Time `json:"made"`    // when the state was that was saved
	ChainID  uint64    `json:"chainId"`
	Genesis  string    `json:"genesis"`
	Contract string    `json:"contract"` // the random address in the signing domain: it names the installation
}

// Part is what the manifest says of one.
type Part struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// ErrDamaged says that it is no backup, or not a whole one.
var ErrDamaged = problem.New(problem.Invalid, "backup-damaged", "this is no whole backup")

func damaged(format string, args ...any) error {
	return problem.New(ErrDamaged.Kind, ErrDamaged.Code, "the backup is damaged or not whole: "+format+"; take another copy", args...)
}

// Writer writes a backup.
type Writer struct {
	archive *tar.Writer
	made    time.Time
	parts   []Part
}

// NewWriter begins a backup.
func NewWriter(to io.Writer, about About) (*Writer, error) {
	about.Version = Version
	w := &Writer{archive: tar.NewWriter(to), made: about.Made}
	content, err := json.MarshalIndent(about, "", "  ")
	if err != nil {
		return nil, err
	}
	return w, w.entry(aboutName, content)
}

func (w *Writer) entry(name string, content []byte) error {
	head := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: w.made, Format: tar.FormatPAX}
	if err := w.archive.WriteHeader(head); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	if _, err := w.archive.Write(content); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	return nil
}

// Part begins a part; it is to be closed before the next one begins.
func (w *Writer) Part(name string) io.WriteCloser {
	return &part{to: w, name: name, sum: sha256.New()}
}

// Close writes the manifest.
func (w *Writer) Close() error {
	content, err := json.MarshalIndent(w.parts, "", "  ")
	if err != nil {
		return err
	}
	if err := w.entry(manifestName, content); err != nil {
		return err
	}
	return w.archive.Close()
}

type part struct {
	to      *Writer
	name    string
	sum     hash.Hash
	size    int64
	waiting bytes.Buffer
	begun   bool
}

func (p *part) Write(content []byte) (int, error) {
	p.sum.Write(content)
	p.size += int64(len(content))
	p.waiting.Write(content)
	if p.waiting.Len() < chunk {
		return len(content), nil
	}
	return len(content), p.flush()
}

func (p *part) flush() error {
	p.begun = true
	defer p.waiting.Reset()
	return p.to.entry(p.name, p.waiting.Bytes())
}

func (p *part) Close() error {
	if p.waiting.Len() > 0 || !p.begun {
		if err := p.flush(); err != nil {
			return err
		}
	}
	p.to.parts = append(p.to.parts, Part{p.name, p.size, hex.EncodeToString(p.sum.Sum(nil))})
	return nil
}

// Reader reads a backup, from its beginning to its end, once.
type Reader struct {
	archive *tar.Reader
	about   About
	next    *tar.Header
	seen    []Part
	open    *content
}

// NewReader begins to read a backup.
func NewReader(from io.Reader) (*Reader, error) {
	r := &Reader{archive: tar.NewReader(from)}
	if err := r.advance(); err != nil {
		return nil, err
	}
	if r.next.Name != aboutName {
		return nil, damaged("it does not say what it is")
	}
	if err := json.NewDecoder(io.LimitReader(r.archive, chunk)).Decode(&r.about); err != nil {
		return nil, damaged("what it says of itself cannot be read")
	}
	if r.about.Version != Version {
		return nil, problem.New(problem.Invalid, "backup-version", "the backup has the form %d, and this program reads the form %d; restore it with the program %s", r.about.Version, Version, r.about.Program)
	}
	return r, r.advance()
}

// About says what the backup is of.
func (r *Reader) About() About { return r.about }

func (r *Reader) advance() (err error) {
	r.next, err = r.archive.Next()
	if errors.Is(err, io.EOF) {
		return damaged("its end is missing")
	}
	return describe(err)
}

func describe(err error) error {
	var told *problem.Error
	if err == nil || errors.As(err, &told) {
		return err
	}
	return damaged("%w", err)
}

// Next gives the next part, whose content is to be read before the one after it. After the last one it compares all that was
// read with the manifest and answers io.EOF.
func (r *Reader) Next() (name string, from io.Reader, err error) {
	if r.open != nil {
		if _, err := io.Copy(io.Discard, r.open); err != nil {
			return "", nil, err
		}
		r.seen = append(r.seen, Part{r.open.name, r.open.size, hex.EncodeToString(r.open.sum.Sum(nil))})
		r.open = nil
	}
	if r.next.Name == manifestName {
		return "", nil, r.compare()
	}
	r.open = &content{of: r, name: r.next.Name, sum: sha256.New()}
	return r.open.name, r.open, nil
}

func (r *Reader) compare() error {
	var said []Part
	if err := json.NewDecoder(r.archive).Decode(&said); err != nil {
		return damaged("its manifest cannot be read")
	}
	if len(said) != len(r.seen) {
		return damaged("it has %d parts, its manifest %d", len(r.seen), len(said))
	}
	for i := range said {
		if said[i] != r.seen[i] {
			return damaged("the part %s is not as the manifest says", r.seen[i].Name)
		}
	}
	return io.EOF
}

// content is one part, over all of its entries.
type content struct {
	of   *Reader
	name string
	sum  hash.Hash
	size int64
	done bool
}

func (c *content) Read(p []byte) (int, error) {
	for !c.done {
		n, err := c.of.archive.Read(p)
		c.sum.Write(p[:n])
		c.size += int64(n)
		if n > 0 {
			return n, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, describe(err)
		}
		if errors.Is(err, io.EOF) {
			if err := c.of.advance(); err != nil {
				return 0, err
			}
			c.done = c.of.next.Name != c.name
		}
	}
	return 0, io.EOF
}
