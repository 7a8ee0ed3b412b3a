package agent

import (
	"context"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/staging"
)

// droplets is the cache as the actors see it.
type droplets struct{ cache *staging.Cache }

var _ actors.Droplets = droplets{}

// Fetch returns the droplet as a layer.
func (d droplets) Fetch(ctx context.Context, wanted messaging.Droplet) (actors.Droplet, error) {
	fetched, err := d.cache.Fetch(ctx, staging.Source(wanted))
	return actors.Droplet(fetched), err
}

// Evict removes what isn't among keep and wasn't handed out since the last call.
func (d droplets) Evict(ctx context.Context, keep []string) error {
	return d.cache.Evict(ctx, keep)
}
