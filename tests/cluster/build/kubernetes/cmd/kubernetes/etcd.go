package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// runEtcd serves one etcd member on loopback, without TLS and without fsync: a test cluster is thrown away, never recovered.
func runEtcd() {
	flags := flag.NewFlagSet("etcd", flag.ExitOnError)
	dir := flags.String("data-dir", "", "data directory")
	flags.Parse(os.Args[1:]) //nolint:errcheck // ExitOnError

	c := embed.NewConfig()
	c.Dir, c.Name, c.LogLevel, c.UnsafeNoFsync = *dir, "etcd", "warn", true
	c.WarningUnaryRequestDuration = time.Second // NewConfig leaves it 0, and then every request is logged
	c.QuotaBackendBytes = 1 << 30
	c.AutoCompactionMode, c.AutoCompactionRetention = "periodic", "1h"
	clients := []url.URL{{Scheme: "http", Host: "127.0.0.1:2379"}}
	peers := []url.URL{{Scheme: "http", Host: "127.0.0.1:2380"}}
	c.ListenClientUrls, c.AdvertiseClientUrls = clients, clients
	c.ListenPeerUrls, c.AdvertisePeerUrls = peers, peers
	c.InitialCluster = c.InitialClusterFromName(c.Name)

	etcd, err := embed.StartEtcd(c)
	if err == nil {
		err = <-etcd.Err() // as long as the node lives
	}
	fmt.Fprintln(os.Stderr, "etcd:", err)
	os.Exit(1)
}
