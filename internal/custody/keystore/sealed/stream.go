package sealed

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/streamingaead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/problem"
)

const (
	streamMagic = "aval sealed stream 1\n"
	streamScope = "aval stream 1"
	longestHead = 1 << 20
)

// streamHead stands before a sealed stream: all that is needed to open it, but for the key-encryption key.
type streamHead struct {
	Envelope []byte `json:"envelope"` // of the store that sealed it, as it was then
	Key      []byte `json:"key"`      // the stream's own key, sealed by the store's data key
}

// SealStream seals what is written, of any length, so that nobody can read or change it without the key-encryption key. Close ends
// it; a stream without its end does not open to its end.
func (s *Store) SealStream(ctx context.Context, to io.Writer) (io.WriteCloser, error) {
	envelope, err := s.blobs.Get(ctx, storeName)
	if err != nil {
		return nil, unreadable(s.blobs.Where(storeName), err)
	}
	handle, err := keyset.NewHandle(streamingaead.AES256GCMHKDF1MBKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make the key of a stream: %w", err)
	}
	var key bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&key), s.data, []byte(streamScope)); err != nil {
		return nil, fmt.Errorf("seal the key of a stream: %w", err)
	}
	head, err := json.Marshal(streamHead{Envelope: envelope, Key: key.Bytes()})
	if err != nil {
		return nil, err
	}
	before := binary.BigEndian.AppendUint32([]byte(streamMagic), uint32(len(head)))
	if _, err := to.Write(append(before, head...)); err != nil {
		return nil, err
	}
	sealer, err := streamingaead.New(handle)
	if err != nil {
		return nil, err
	}
	return sealer.NewEncryptingWriter(to, head)
}

// OpenStream reads what SealStream has sealed; of the options it takes the key-encryption key. What is not whole is
// keystore-damaged, here or when it is read.
func OpenStream(ctx context.Context, options Options, from io.Reader) (io.Reader, error) {
	content := make([]byte, len(streamMagic)+4)
	if _, err := io.ReadFull(from, content); err != nil || string(content[:len(streamMagic)]) != streamMagic {
		return nil, damagedStream("it does not begin as one")
	}
	size := binary.BigEndian.Uint32(content[len(streamMagic):])
	if size > longestHead {
		return nil, damagedStream("its head is too long")
	}
	content = make([]byte, size)
	var head streamHead
	if _, err := io.ReadFull(from, content); err != nil || json.Unmarshal(content, &head) != nil {
		return nil, damagedStream("its head is not whole")
	}
	opener, err := options.openHead(ctx, head)
	if err != nil {
		return nil, err
	}
	plain, err := opener.NewDecryptingReader(from, content)
	if err != nil {
		return nil, damagedStream("it is cut short")
	}
	return intact{plain}, nil
}

func (o Options) openHead(ctx context.Context, head streamHead) (tink.StreamingAEAD, error) {
	store, err := o.unwrap(ctx, head.Envelope, "which the sealed file was made with")
	if err != nil {
		return nil, err
	}
	data, err := aead.New(store)
	if err != nil {
		return nil, err
	}
	handle, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(head.Key)), data, []byte(streamScope))
	if err != nil {
		return nil, damagedStream("its key does not open")
	}
	return streamingaead.New(handle)
}

// intact says of a stream that cannot be read on that it is damaged.
type intact struct{ from io.Reader }

func (i intact) Read(p []byte) (int, error) {
	n, err := i.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = damagedStream("its seal is broken, or it is cut short")
	}
	return n, err
}

func damagedStream(why string) error {
	return problem.New(keystore.ErrDamaged.Kind, keystore.ErrDamaged.Code, "this is no sealed file, or it is damaged: %s; take another copy", why)
}
