package model

// die is the end of PID 1, and of everything inside.
func (c *container) die() {
	c.alive, c.open = false, false
	select {
	case <-c.dead:
	default:
		close(c.dead)
	}
}

// unbegun says that nothing is known of a dead container but what it was to be:
// no job of it wrote anything, ended or was forgotten (isolation.ErrUnbegun).
func (c *container) unbegun() bool {
	for _, j := range c.jobs {
		if j.exit != nil || len(j.argv) > 0 && !j.discard {
			return false
		}
	}
	return !c.alive && c.exit == nil && c.output.written == 0 && len(c.forgotten) == 0
}

// giveWay takes away what an agent that was killed over the making of a container
// left of it: it can be made again.
func (k *Kernel) giveWay(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c, ok := k.containers[id]; ok && c.unbegun() {
		delete(k.containers, id)
	}
}

// Orphan is what becomes of a container that was being made when its agent was
// killed: PID 1 finds nobody at its gate and ends.
func (k *Kernel) Orphan() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.containers {
		if !c.alive {
			c.die()
		}
	}
}

// Reboot takes everything away that is the kernel's: of containers their folders
// are left. Tenants may be given another.
func (k *Kernel) Reboot() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.containers {
		c.die()
	}
	k.harms = nil
	k.boots++
}
