package chain_test

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// geth's legacypool, list.Add: the new caps must be above the old ones and reach 110 % of them, rounded down.
func accepted(before, after chain.Price) bool {
	reaches := func(old, now *big.Int) bool {
		threshold := new(big.Int).Quo(new(big.Int).Mul(old, big.NewInt(110)), big.NewInt(100))
		return now.Cmp(old) > 0 && now.Cmp(threshold) >= 0
	}
	both := func(p chain.Price) (fee, tip *big.Int) {
		if p.Legacy {
			return p.Fee, p.Fee
		}
		return p.Fee, p.Tip
	}
	fee, tip := both(before)
	newFee, newTip := both(after)
	return reaches(fee, newFee) && reaches(tip, newTip)
}

func drawPrice(t *rapid.T, name string) chain.Price {
	number := func(part string) *big.Int { return new(big.Int).SetUint64(rapid.Uint64Max(1<<50).Draw(t, name+part)) }
	fee, tip := number(" fee"), number(" tip")
	if fee.Cmp(tip) < 0 {
		fee, tip = tip, fee
	}
	if rapid.Bool().Draw(t, name+" legacy") {
		return chain.Price{Fee: fee, Legacy: true}
	}
	return chain.Price{Fee: fee, Tip: tip}
}

// Nodes take every replacement that Raise gives, it is within the policy, and it is not given when it could not be.
func TestReplacementsAreTakenAndWithinTheBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, quote := drawPrice(t, "before"), chain.Quote{Price: drawPrice(t, "quote")}
		gas := rapid.Uint64Range(21_000, 1<<24).Draw(t, "gas")
		policy := chain.FeePolicy{}
		if rapid.Bool().Draw(t, "ceiling") {
			policy.Ceiling = new(big.Int).SetUint64(rapid.Uint64Max(1<<51).Draw(t, "most"))
		}
		if rapid.Bool().Draw(t, "budget") {
			policy.Budget = new(big.Int).Mul(new(big.Int).SetUint64(rapid.Uint64Max(1<<51).Draw(t, "most in total")), new(big.Int).SetUint64(gas))
		}
		least := chain.Bump(before, quote.Legacy)
		if !accepted(before, least) {
			t.Fatalf("a node would not take %+v in place of %+v", least, before)
		}
		after, err := policy.Raise(before, quote, gas)
		total := func(p chain.Price) *big.Int { return new(big.Int).Mul(p.Fee, new(big.Int).SetUint64(gas)) }
		allowed := func(p chain.Price) bool {
			return (policy.Ceiling == nil || p.Fee.Cmp(policy.Ceiling) <= 0) && (policy.Budget == nil || total(p).Cmp(policy.Budget) <= 0)
		}
		if err != nil {
			if code := problem.From(err).Code; code != "fee-too-high" && code != "fee-budget-exceeded" || allowed(least) {
				t.Fatalf("refused although %+v is allowed: %v", least, err)
			}
			return
		}
		if !accepted(before, after) || !allowed(after) || after.Legacy != quote.Legacy || !after.Legacy && after.Tip.Cmp(after.Fee) > 0 {
			t.Fatalf("%+v is raised to %+v", before, after)
		}
	})
}

func TestABumpIsATenthRoundedUp(t *testing.T) {
	for before, want := range map[int64]int64{0: 1, 1: 2, 9: 10, 10: 11, 11: 13, 100: 110, 101: 112} {
		price := chain.Price{Fee: big.NewInt(before), Tip: big.NewInt(before)}
		if got := chain.Bump(price, false); got.Fee.Int64() != want || got.Tip.Int64() != want {
			t.Errorf("%d is raised to %s and %s, not %d", before, got.Fee, got.Tip, want)
		}
	}
}

func TestATypesOwnPolicyCounts(t *testing.T) {
	policies := chain.FeePolicies{Default: chain.FeePolicy{Patience: 1}, Types: map[string]chain.FeePolicy{"call.v1": {Patience: 2}}}
	if policies.For("call.v1").Patience != 2 || policies.For("transfer.v1").Patience != 1 {
		t.Error("the wrong policy is chosen")
	}
}
