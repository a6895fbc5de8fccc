package main

import "testing"

// TestAQuorumThatSparesNoNodeIsTold: and one that believes the first, where there are several.
func TestAQuorumThatSparesNoNodeIsTold(t *testing.T) {
	for pair, told := range map[[2]int]bool{{1, 1}: false, {2, 1}: true, {2, 2}: true, {3, 1}: true, {3, 2}: false, {3, 3}: true, {5, 3}: false} {
		if why := thinQuorum(pair[0], pair[1]); (why != "") != told {
			t.Errorf("%d nodes with a quorum of %d: %q", pair[0], pair[1], why)
		}
	}
}
