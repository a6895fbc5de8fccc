package devchain_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"

	"github.com/avalhq/aval/internal/chain/evm/devchain"
)

// childFolder is set for the process that TestAKilledProcessLosesNoBlockThatWasSeen starts: this same program, being a chain.
const childFolder = "DEVCHAIN_TEST_FOLDER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(childFolder); folder != "" {
		child(folder)
	}
	os.Exit(m.Run())
}

func child(folder string) {
	c, err := devchain.Start(context.Background(), devchain.Config{
		Folder: folder, IPC: filepath.Join(folder, "ipc"), BlockTime: time.Millisecond, Trail: 1000,
	})
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println(c.WebSocketURL())
	select {} // until killed
}

// TestAKilledProcessLosesNoBlockThatWasSeen kills a chain that makes blocks as fast as it can, at random times, and looks
// for every block and receipt that a client was told of. Faults: K.
func TestAKilledProcessLosesNoBlockThatWasSeen(t *testing.T) {
	folder := t.TempDir()
	seen := make(map[uint64]common.Hash)      // blocks
	paid := make(map[common.Hash]common.Hash) // receipts: transaction to block
	enough := func() bool { return len(seen) >= 100 && len(paid) >= 12 }
	for life := 0; life < 12 || life < 60 && !enough(); life++ { // a busy machine needs more lives to show as much
		process, client := startChild(t, folder)
		check(t, client, seen, paid)
		watch(t, client, seen, paid, randomTime(t, 80*time.Millisecond))
		must(t, process.Kill())
		_, err := process.Wait()
		must(t, err)
		drain(client, seen)
	}
	if !enough() {
		t.Errorf("only %d blocks and %d receipts were seen: this test does not test what it should", len(seen), len(paid))
	}
	_, client := startChild(t, folder)
	check(t, client, seen, paid)
}

// TestAProcessKilledWhileItStartsStartsAgain kills at random times of the start, the very first one too. Faults: K.
func TestAProcessKilledWhileItStartsStartsAgain(t *testing.T) {
	for range 3 {
		folder := t.TempDir()
		for range 6 {
			command := exec.Command(os.Args[0])
			command.Env = append(os.Environ(), childFolder+"="+folder)
			must(t, command.Start())
			<-time.After(randomTime(t, 60*time.Millisecond)) // where a kill falls is the chance that is tested
			must(t, command.Process.Kill())
			_, err := command.Process.Wait()
			must(t, err)
		}
		_, client := startChild(t, folder)
		watch(t, client, make(map[uint64]common.Hash), make(map[common.Hash]common.Hash), 0)
	}
}

func startChild(t *testing.T, folder string) (*os.Process, *watched) {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childFolder+"="+folder)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	must(t, err)
	must(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	url, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	client, err := ethclient.DialContext(t.Context(), url[:len(url)-1])
	if err != nil {
		t.Fatalf("the chain said %q: %v", url, err)
	}
	t.Cleanup(client.Close)
	return command.Process, &watched{Client: client, heads: make(chan *types.Header, 4096)}
}

type watched struct {
	*ethclient.Client
	heads chan *types.Header
}

// check finds everything that was seen.
func check(t *testing.T, client *watched, seen map[uint64]common.Hash, paid map[common.Hash]common.Hash) {
	t.Helper()
	for number, hash := range seen {
		header, err := client.HeaderByNumber(t.Context(), new(big.Int).SetUint64(number))
		if err != nil {
			t.Fatalf("block %d was seen before the kill: %v", number, err)
		}
		if header.Hash() != hash {
			t.Fatalf("block %d was %s before the kill and is %s", number, hash, header.Hash())
		}
	}
	for tx, block := range paid {
		receipt, err := client.TransactionReceipt(t.Context(), tx)
		if err != nil || receipt.BlockHash != block {
			t.Fatalf("transaction %s was in block %s before the kill, now: %v %v", tx, block, receipt, err)
		}
	}
}

// watch makes the chain busy for a while and notes what it tells.
func watch(t *testing.T, client *watched, seen map[uint64]common.Hash, paid map[common.Hash]common.Hash, while time.Duration) {
	t.Helper()
	_, err := client.SubscribeNewHead(t.Context(), client.heads)
	must(t, err)
	var first common.Hash
	must(t, client.Client.Client().CallContext(t.Context(), &first, "dev_faucet", anybody, "0x1"))
	paid[first] = mined(t, client.Client, first.Hex()).BlockHash
	end := time.After(while)
	for {
		select {
		case head := <-client.heads:
			seen[head.Number.Uint64()] = head.Hash()
			var next common.Hash
			must(t, client.Client.Client().CallContext(t.Context(), &next, "dev_faucet", anybody, "0x1"))
			if receipt, err := client.TransactionReceipt(t.Context(), next); err == nil {
				paid[next] = receipt.BlockHash
			}
		case <-end:
			return
		}
	}
}

// drain notes what was told until the end.
func drain(client *watched, seen map[uint64]common.Hash) {
	for {
		select {
		case head := <-client.heads:
			seen[head.Number.Uint64()] = head.Hash()
		case <-time.After(20 * time.Millisecond): // the connection is dead: nothing more comes
			return
		}
	}
}

func randomTime(t *testing.T, most time.Duration) time.Duration {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(int64(most)))
	must(t, err)
	return time.Duration(n.Int64())
}
