// Package slot derives everything that a container is called or numbered by in
// the kernel. A container occupies slot k of a pool; its subnet, link name,
// uid range, cgroup and upper folder are functions of k, of the epoch (how
// often the slot was used) and of the node's tag. There is no second database
// that could leak.
//
//	slot 3, epoch 7, tag "k3xqa", pool 10.254.0.0/16, uids from 1,000,000
//	  subnet   10.254.0.12/30, host end .13, container end .14
//	  link     dcnk3xqa0003aah
//	  uids     1,196,608 … 1,262,143
//	  cgroup   deacon-k3xqa/s3.7
//
// The package is pure: it makes nothing and asks nobody.
package slot
