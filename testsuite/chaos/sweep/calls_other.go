//go:build !amd64

package sweep

func legacyStep(call) (string, bool) { return "", false }
