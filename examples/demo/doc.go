// Command demo shows deacon as a newcomer would meet it: through its command
// line, with real droplets, on this machine. Every step is checked; it ends
// with 0 only if all of them worked and nothing was left behind.
package main
