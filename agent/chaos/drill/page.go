package drill

// Page is the report for people.
func (p Report) Page() ([]byte, error) { return []byte("<!doctype html>"), nil }
