package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/user"
	"unicode/utf8"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/config"
)

type busCommands struct {
	Parked parkedCommands `cmd:"" help:"Records that could not be used."`
}

type parkedCommands struct {
	List   parkedList   `cmd:"" default:"withargs" help:"List them."`
	Show   parkedShow   `cmd:"" help:"Show one with its bytes."`
	Drop   parkedDrop   `cmd:"" help:"Take one off the list for good."`
	Replay parkedReplay `cmd:"" help:"Put one on its topic again, as it was, and take it off the list."`
}

// Help is shown by aval bus parked --help.
func (parkedCommands) Help() string {
	return `Roles hand each other records on topics. One that a role cannot read, or that no committed row authorises, is parked with its bytes, and the rest goes on. Find out who put it there before it is dropped; what a defect has parked can be replayed once the defect is mended, as whatever is done for a record is done once.

    aval bus parked list --config aval.yaml
    aval bus parked show 7 --config aval.yaml
    aval bus parked replay 7 --config aval.yaml`
}

// onDatabase opens the database that a configuration names, and no registry of keys.
type onDatabase struct {
	settings `embed:""`
	File     string `name:"config" required:"" env:"AVAL_CONFIG" help:"Configuration file, which names the database." placeholder:"FILE"`
}

func (o onDatabase) open(ctx context.Context) (cfg config.Config, s storage, err error) {
	cfg, err = o.read(o.File)
	if err != nil {
		return cfg, s, err
	}
	if cfg.Database.URL == "" {
		return cfg, s, misused("database-missing", "%s names no database; without one roles hand each other no records, and none can be parked", o.File)
	}
	_, s, err = openShare(ctx, cfg, nil)
	return cfg, s, err
}

// with opens the database, does something and closes it.
func (o onDatabase) with(ctx context.Context, do func(storage) error) (err error) {
	_, s, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return do(s)
}

// withBus does something on the database and on the bus that the processes read, which is Kafka where the configuration names one.
func (o onDatabase) withBus(ctx context.Context, do func(storage) error) (err error) {
	cfg, s, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if cfg.Kafka.Brokers != "" {
		closer, err := o.overKafka(ctx, cfg.Kafka, &s)
		if err != nil {
			return err
		}
		s.closing(closer)
	}
	return do(s)
}

func (o onDatabase) overKafka(ctx context.Context, c config.Kafka, s *storage) (closer func() error, err error) {
	contract, found, err := s.contract(ctx)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, misused("database-unused", "no process of Aval has run on the database that %s names yet, so it has no records", o.File)
	}
	options, err := kafkaOptions(c)
	if err != nil {
		return nil, err
	}
	options.Installation = contract.Hex()
	return carryOver(ctx, s, options, nil)
}

// parkedRecord is what JSON says of one.
type parkedRecord struct {
	ID        int64             `json:"id"`
	Group     string            `json:"group"`
	Topic     string            `json:"topic"`
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Key       string            `json:"key"`
	Headers   map[string]string `json:"headers,omitempty"`
	Value     []byte            `json:"value"` // base64
	Code      string            `json:"code"`
	Why       string            `json:"why"`
	At        string            `json:"at"`
}

func parkedOf(r bus.ParkedRecord) parkedRecord {
	return parkedRecord{r.ID, r.Group, r.Topic, r.Partition, r.Offset, r.Key, r.Headers, r.Value, r.Code, r.Why, moment(r.At)}
}

type parkedList struct {
	onDatabase
	Limit int `default:"100" help:"Most to list."`
}

// Run is the command.
func (c *parkedList) Run(ctx context.Context, s *screen) error {
	return c.with(ctx, func(st storage) error {
		list, err := st.parked.List(ctx, 0, max(c.Limit, 1))
		if err != nil {
			return err
		}
		all, rows := []parkedRecord{}, [][]string{}
		for _, r := range list {
			all = append(all, parkedOf(r))
			rows = append(rows, []string{fmt.Sprint(r.ID), moment(r.At), r.Group, r.Topic, fmt.Sprintf("%d/%d", r.Partition, r.Offset), r.Code, r.Why})
		}
		s.answer(map[string]any{"parked": all}, func() {
			s.table([]string{"ID", "WHEN", "GROUP", "TOPIC", "OFFSET", "CODE", "WHY"}, rows, "No record is parked.")
		})
		return nil
	})
}

type byParked struct {
	onDatabase
	ID int64 `arg:"" help:"The record's number in the list."`
}

type parkedShow struct{ byParked }

// Run is the command.
func (c *parkedShow) Run(ctx context.Context, s *screen) error {
	return c.with(ctx, func(st storage) error {
		r, err := st.parked.Get(ctx, c.ID)
		if err != nil {
			return err
		}
		s.answer(parkedOf(r), func() {
			s.facts([2]string{"record", fmt.Sprint(r.ID)}, [2]string{"parked", moment(r.At)}, [2]string{"group", r.Group}, [2]string{"topic", r.Topic},
				[2]string{"offset", fmt.Sprintf("%d of partition %d", r.Offset, r.Partition)}, [2]string{"key", r.Key}, [2]string{"code", r.Code}, [2]string{"why", r.Why})
			s.say("%s", "")
			s.say("%s", readable(r.Value))
		})
		return nil
	})
}

// readable is a value as text where it is text, otherwise in hexadecimal digits. What could steer a terminal is written out.
func readable(value []byte) string {
	if json.Valid(value) {
		return string(value)
	}
	if utf8.Valid(value) {
		return fmt.Sprintf("%q", value)
	}
	return fmt.Sprintf("0x%x", value)
}

type parkedDrop struct {
	byParked
	By string `help:"Who drops it, for the record. Without it: your user name." placeholder:"NAME"`
}

// Run is the command.
func (c *parkedDrop) Run(ctx context.Context, s *screen) error {
	return c.with(ctx, func(st storage) error {
		if err := st.parked.End(ctx, c.ID, bus.Dropped, whoever(c.By)); err != nil {
			return err
		}
		s.answer(map[string]any{"dropped": c.ID}, func() { s.say("The record %d is dropped. Its bytes stay in the database.", c.ID) })
		return nil
	})
}

type parkedReplay struct {
	byParked
	By string `help:"Who replays it, for the record. Without it: your user name." placeholder:"NAME"`
}

// Run is the command.
func (c *parkedReplay) Run(ctx context.Context, s *screen) error {
	return c.withBus(ctx, func(st storage) error {
		r, err := st.parked.Get(ctx, c.ID)
		if err != nil {
			return err
		}
		if err := st.bus.Publish(ctx, []bus.Record{{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers}}); err != nil {
			return err
		}
		if err := st.parked.End(ctx, c.ID, bus.Replayed, whoever(c.By)); err != nil {
			return err
		}
		s.answer(map[string]any{"replayed": c.ID}, func() { s.say("The record %d is on %s again.", c.ID, r.Topic) })
		return nil
	})
}

// whoever is the name that was given, or the user's.
func whoever(name string) string {
	if name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "somebody"
}
