// Package watch tells when a file that somebody has open changes, or loses its
// place: by inotify(7), which is given the open file itself and no name, so that
// it is that file whoever renames what meanwhile. A file of a container is seen
// in the container's own overlay: a write there is told of, though it is made in
// another mount namespace.
package watch
