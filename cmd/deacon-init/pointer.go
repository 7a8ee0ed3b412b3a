package main

import "unsafe"

func pointer(b *byte) unsafe.Pointer { return unsafe.Pointer(b) }
