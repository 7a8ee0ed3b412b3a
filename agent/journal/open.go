package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// damagedSuffix marks what a journal was before damage was found in it.
const damagedSuffix = ".damaged"

// Open opens the journal at path, which nobody else may have open, and makes it
// where there is none. It returns what the journal says: the value of each name.
//
// The end of a write that was never done is cut off without a word. Any other
// line that isn't whole is passed over, what was said before and after it holds,
// and each is told in the notes; the file as it was is kept beside the journal.
func Open(path string) (_ *Journal, values map[string][]byte, notes []string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("journal: open: %w", err)
		}
	}()
	// What was being rewritten when its writer died is not the journal.
	if err := os.Remove(path + newSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, nil, err
	}
	told := read(content)
	j := &Journal{path: path, file: file, size: int64(told.whole), damaged: len(told.damage) > 0, unnamed: true}
	if j.damaged {
		if notes, err = j.putAside(content, told.damage); err != nil {
			return nil, nil, nil, err
		}
	}
	for _, value := range told.values {
		j.spoken += int64(len(value)) + lineRest
	}
	j.torn = true
	if err := j.mend(); err != nil {
		return nil, nil, nil, err
	}
	return j, told.values, notes, nil
}

// putAside keeps a copy of a journal with damage in it.
func (j *Journal) putAside(content []byte, damage []damage) (notes []string, err error) {
	copied := j.path + damagedSuffix
	file, err := create(copied)
	if err != nil {
		return nil, err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	for _, d := range damage {
		notes = append(notes, fmt.Sprintf("line %d of %s is damaged%s and was passed over; what the journal was is in %s",
			d.line, j.path, d.whose(), copied))
	}
	return notes, nil
}
