package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/action/feeder/handed"
	"github.com/avalhq/aval/internal/backend/kafka"
	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/leader"
)

// overKafka says whether Kafka carries the records.
func (p *platform) overKafka() bool { return p.config.Kafka.Brokers != "" }

// openBus connects to Kafka, when the configuration names one. It comes after the database has said which installation this is.
func (p *platform) openBus(ctx context.Context) error {
	if !p.overKafka() {
		return nil
	}
	options, err := kafkaOptions(p.config.Kafka)
	if err != nil {
		return err
	}
	options.Installation, options.Faults = p.install.Contract.Hex(), p.options.faults
	closer, err := carryOver(ctx, &p.storage, options, p.log)
	if err != nil {
		return err
	}
	p.closing(closer)
	if p.has(roleAPI) {
		delete(p.storage.ready, "kafka") // clients are served without it
	}
	return nil
}

// carryOver has Kafka carry records in the place of the database, and the ids of what is due too.
func carryOver(ctx context.Context, s *storage, o kafka.Options, log *slog.Logger) (closer func() error, err error) {
	o.Process, o.Log = s.process, log
	b, err := kafka.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	f := &handed.Feeder{Table: s.table, Bus: b, Parked: s.parked, Log: log}
	s.bus, s.feeder, s.ready["kafka"] = b, f, b.Ping
	return func() error {
		defer b.Close()
		return f.Close()
	}, nil
}

// dueRelay hands out what is due.
func (p *platform) dueRelay(seat *leader.Seat) *handed.Relay {
	return &handed.Relay{Table: p.storage.table, Bus: p.storage.bus, Seat: seat, Log: p.log, Observe: func(records int, took time.Duration) {
		p.metrics.Relayed(bus.Due, records, took)
	}}
}

// kafkaOptions are what the configuration says of Kafka.
func kafkaOptions(c config.Kafka) (o kafka.Options, err error) {
	o = kafka.Options{
		Brokers: strings.Fields(c.Brokers), Prefix: c.Prefix, Partitions: int32(c.Partitions), Replication: int16(c.Replication),
		Login: kafka.Login{Mechanism: c.Mechanism, User: c.User},
	}
	if c.Secure {
		if o.TLS, err = certificates("kafka.tls", c.TLS); err == nil && o.TLS == nil {
			o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	if err == nil && c.Mechanism != "" {
		kind, where := c.Source()
		o.Login.Password, err = readPassword(kind, where, "kafka.password")
	}
	return o, err
}

// clusterCommands prepare what the processes of a cluster share beside the database.
type clusterCommands struct {
	Init clusterInit `cmd:"" help:"Make the topics at Kafka, and check those that are there."`
}

type clusterInit struct {
	DryRun bool     `help:"Change nothing; say what would be made."`
	Set    []string `sep:"none" help:"Set one field of the configuration, such as --set kafka.partitions=32. May be repeated." placeholder:"FIELD=VALUE"`
	File   string   `name:"config" required:"" env:"AVAL_CONFIG" help:"Configuration file, with kafka.brokers." placeholder:"FILE"`
}

// Help is shown by aval cluster init --help.
func (clusterInit) Help() string {
	return `Makes the topics that are missing, with kafka.partitions and kafka.replication, and adds partitions where kafka.partitions has grown. What it cannot mend it refuses, and then nothing is changed: topics never shrink, and one that forgets records is of no use.

It may be run at any time, also while processes run; start them anew after partitions were added. A topic that was deleted is made again: nothing is lost with it, the relay fills it from the database.

    aval cluster init --config aval.yaml --dry-run
    aval cluster init --config aval.yaml`
}

// Run is the command.
func (c *clusterInit) Run(ctx context.Context, s *screen) error {
	cfg, err := settings{Set: c.Set}.read(c.File)
	if err != nil {
		return err
	}
	if cfg.Kafka.Brokers == "" {
		return misused("kafka-missing", "%s names no Kafka, so there are no topics to make; set kafka.brokers, or go on without: PostgreSQL carries the records then", c.File)
	}
	options, err := kafkaOptions(cfg.Kafka)
	if err != nil {
		return err
	}
	topics, err := kafka.Init(ctx, options, c.DryRun)
	if err != nil {
		return err
	}
	s.answer(map[string]any{"dry_run": c.DryRun, "topics": topics}, func() { sayTopics(s, topics, c.DryRun) })
	return nil
}

func sayTopics(s *screen, topics []kafka.Topic, dry bool) {
	done := map[string]string{"": "is there", "make": "made", "grow": "grown"}
	if dry {
		done = map[string]string{"": "is there", "make": "would be made", "grow": "would grow"}
	}
	for _, t := range topics {
		s.say("%-40s %4d partitions  %d copies  %s", t.Name, t.Partitions, t.Replication, done[t.Action])
	}
}
