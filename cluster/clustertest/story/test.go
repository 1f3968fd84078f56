package story

// T is what a world needs of a test; *testing.T is one.
type T interface {
	// Helper marks the caller as a helper.
	Helper()
	// Fatalf fails the test and does not return.
	Fatalf(format string, args ...any)
	// Logf writes into the test's log.
	Logf(format string, args ...any)
}
