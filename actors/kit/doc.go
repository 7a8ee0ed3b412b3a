// Package kit is the one wrapper of the actor library.
package kit
