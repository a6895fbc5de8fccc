package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

const (
	originalColumns = "o.id, o.client, o.type, o.chain, o.expires, o.scheme, o.digest, o.signer, " + pinnedTo + ", o.accepted, o.body, o.original"
	loadSQL         = "SELECT " + originalColumns + `, m.version, m.state, m.status, m.ext, m.reason, m.updated, false, m.place, d.at,
		ARRAY(SELECT key FROM parts p WHERE p.id = m.id ORDER BY key), ARRAY(SELECT data FROM parts p WHERE p.id = m.id ORDER BY key)
		FROM unnest($1::text[]) AS t(id), LATERAL (SELECT * FROM messages WHERE id = t.id LIMIT 1) m, LATERAL (SELECT * FROM originals WHERE id = t.id LIMIT 1) o
			LEFT JOIN LATERAL (SELECT at FROM due WHERE id = t.id LIMIT 1) d ON true`
	archivedSQL = "SELECT " + originalColumns + `, a.version, a.state, a.status, a.ext, a.reason, a.updated, true, NULL::bytea, NULL::bigint, NULL::bytea[], NULL::bytea[]
		FROM archive a JOIN originals o ON o.id = a.id WHERE a.id = $1`
	historySQL = "SELECT entries FROM history WHERE id = $1 ORDER BY version"
)

// record reads the columns of loadSQL and archivedSQL.
func record(row pgx.CollectableRow) (rec guarantee.Record, err error) {
	var id, scheme, status string
	var digest, signer []byte
	var expires, accepted, updated int64
	var due *int64
	var keys, data [][]byte
	err = row.Scan(&id, &rec.Client, &rec.Type, &rec.Chain, &expires, &scheme, &digest, &signer, &rec.Workflow, &accepted, (*[]byte)(&rec.Body), &rec.Original,
		&rec.Version, &rec.State, &status, (*[]byte)(&rec.Ext), &rec.Reason, &updated, &rec.Archived, &rec.Place, &due, &keys, &data)
	for i, key := range keys {
		rec.Parts = append(rec.Parts, guarantee.Part{Key: string(key), Data: data[i]})
	}
	rec.ID, rec.Scheme, rec.Status = message.ID(id), message.Scheme(scheme), guarantee.Status(status)
	copy(rec.Digest[:], digest)
	copy(rec.Signer[:], signer)
	rec.Expires, rec.Accepted, rec.Updated, rec.Due = timeOf(&expires), timeOf(&accepted), timeOf(&updated), timeOf(due)
	return rec, err
}

// Load reads live messages.
func (g *Guarantee) Load(ctx context.Context, ids []message.ID) ([]guarantee.Record, error) {
	return rows(ctx, g.db, g.db.pool, record, loadSQL, texts(ids))
}

func texts(ids []message.ID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = clean(string(id))
	}
	return list
}

// Get reads one message with its history.
func (g *Guarantee) Get(ctx context.Context, id message.ID) (guarantee.Record, []guarantee.Entry, error) {
	rec, raw, found, err := g.read(ctx, id)
	switch {
	case err != nil:
		return rec, nil, err
	case !found:
		return rec, nil, guarantee.ErrUnknown
	}
	var history []guarantee.Entry
	if err := json.Unmarshal(raw, &history); err != nil {
		return rec, nil, problem.New(problem.Internal, "storage-corrupt", "the history of %s cannot be read: %w", id, err)
	}
	return rec, history, nil
}

// read gives a message, live or archived, with its history as a JSON array, from one snapshot.
func (g *Guarantee) read(ctx context.Context, id message.ID) (rec guarantee.Record, history []byte, found bool, err error) {
	err = pgx.BeginTxFunc(ctx, g.db.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		rec, found, err = one(ctx, g.db, tx, record, loadSQL, texts([]message.ID{id}))
		if err == nil && !found {
			rec, found, err = one(ctx, g.db, tx, record, archivedSQL, clean(string(id)))
		}
		if err != nil || !found {
			return err
		}
		parts, err := rows(ctx, g.db, tx, pgx.RowTo[[]byte], historySQL, string(id))
		history = joined(parts)
		return err
	})
	return rec, history, found, g.db.describe(err)
}

// joined makes one JSON array of several.
func joined(arrays [][]byte) []byte {
	var all bytes.Buffer
	for i, array := range arrays {
		part := bytes.TrimSuffix(array, []byte("]"))
		if i > 0 {
			all.WriteByte(',')
			part = part[1:]
		}
		all.Write(part)
	}
	all.WriteByte(']')
	return all.Bytes()
}

const (
	liveSnapshots     = "SELECT m.id, m.version, m.state, m.status, m.reason, false, o.accepted, m.updated, o.attributes, 0::bigint FROM messages m JOIN originals o ON o.id = m.id "
	archivedSnapshots = "SELECT a.id, a.version, a.state, a.status, a.reason, true, o.accepted, a.updated, o.attributes, a.seq FROM archive a JOIN originals o ON o.id = a.id "
)

// numbered is a snapshot with its place in an order.
type numbered struct {
	guarantee.Snapshot
	place int64
}

// snapshot reads the columns of liveSnapshots, archivedSnapshots and the outbox.
func snapshot(row pgx.CollectableRow) (snap numbered, err error) {
	var id, status string
	var accepted, updated int64
	var attributes []byte
	if err := row.Scan(&id, &snap.Version, &snap.State, &status, &snap.Reason, &snap.Archived, &accepted, &updated, &attributes, &snap.place); err != nil {
		return snap, err
	}
	snap.ID, snap.Status = message.ID(id), guarantee.Status(status)
	snap.Accepted, snap.Updated = time.UnixMicro(accepted).UTC(), time.UnixMicro(updated).UTC()
	if err := json.Unmarshal(attributes, &snap.Attributes); err != nil {
		return snap, problem.New(problem.Internal, "storage-corrupt", "the attributes of %s cannot be read: %w", snap.ID, err)
	}
	return snap, nil
}

// Scan walks the live messages, then the archive. A message archived meanwhile is met again there: either its row is there
// when the archive is read, or it was met among the live ones.
func (g *Guarantee) Scan(ctx context.Context, from string, limit int) (page []guarantee.Snapshot, next string, err error) {
	if limit <= 0 {
		return nil, "", problem.New(problem.Invalid, "limit-invalid", "scan of Guarantee: limit %d is not positive", limit)
	}
	seq, archived := strings.CutPrefix(from, "archive:")
	var list []numbered
	if archived {
		after, err := strconv.ParseInt(seq, 10, 64)
		if err != nil {
			return nil, "", problem.New(problem.Invalid, "cursor-invalid", "the position %q to scan from is not one that Scan gave", from)
		}
		list, err = rows(ctx, g.db, g.db.pool, snapshot, archivedSnapshots+"WHERE a.seq > $1 ORDER BY a.seq LIMIT $2", after, limit)
		if err != nil {
			return nil, "", err
		}
	} else if list, err = rows(ctx, g.db, g.db.pool, snapshot, liveSnapshots+"WHERE m.id > $1 ORDER BY m.id LIMIT $2", clean(from), limit); err != nil {
		return nil, "", err
	}
	page = plain(list)
	switch {
	case len(list) < limit && archived:
		return page, "", nil
	case len(list) < limit:
		return page, "archive:0", nil
	case archived:
		return page, "archive:" + strconv.FormatInt(list[limit-1].place, 10), nil
	}
	return page, string(list[limit-1].ID), nil
}

func plain(list []numbered) []guarantee.Snapshot {
	page := make([]guarantee.Snapshot, len(list))
	for i := range list {
		page[i] = list[i].Snapshot
	}
	return page
}

// Snapshots reads messages by id, live or archived: with Scan it makes Guarantee a reference.Source.
func (g *Guarantee) Snapshots(ctx context.Context, ids []message.ID) ([]guarantee.Snapshot, error) {
	const asked = "JOIN unnest($1::text[]) AS t(id) ON t.id = "
	list, err := rows(ctx, g.db, g.db.pool, snapshot, liveSnapshots+asked+"m.id UNION ALL "+archivedSnapshots+asked+"a.id", texts(ids))
	return plain(list), err
}
