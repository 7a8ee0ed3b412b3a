package agent

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/box"
	"github.com/deacon-agent/deacon/staging/stack"
)

// stacksFolder is where a node's stacks lie.
func stacksFolder(state string) string { return filepath.Join(state, "stacks") }

// madeAt is where deacon rootfs makes the stack of a name.
func (c Config) madeAt(name string) string { return stack.TreePath(stacksFolder(c.Node.State), name) }

// StackStore is where the node's stacks are made and removed. A stack that the
// configuration of the file names has a user, whether or not an agent runs: the
// next one would not start without it.
func (c Config) StackStore(file string) *stack.Store {
	return stack.Open(stacksFolder(c.Node.State), func(name string) ([]string, error) { return c.stackUsers(file, name) })
}

// NamesStack says whether the configuration offers the stack that deacon rootfs
// made by this name.
func (c Config) NamesStack(name string) bool {
	is := c.isTree(name)
	return slices.ContainsFunc(c.trees(), func(path string) bool { return is(path) || is(resolved(path)) })
}

// isTree returns what says whether a path is the tree of a stack or lies in it,
// by its name here or by the one that it has without links.
func (c Config) isTree(name string) func(path string) bool {
	made, real := c.madeAt(name), stack.TreePath(resolved(stacksFolder(c.Node.State)), name)
	return func(path string) bool {
		return path == made || path == real || strings.HasPrefix(path, made+"/") || strings.HasPrefix(path, real+"/")
	}
}

// resolved is a path without links, or the path itself where that can't be told.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// holdStacks keeps the stacks that the node offers from being removed, as long as
// this agent lives, however it ends.
func (a *agent) holdStacks() error {
	for _, tree := range a.config.trees() {
		held, err := stack.Hold(resolved(tree))
		if err != nil {
			return fmt.Errorf("agent: %w", err)
		}
		a.defers("the stack "+tree, held.Close)
	}
	return nil
}

// trees are the folders that containers get as their root file systems.
func (c Config) trees() []string {
	var trees []string
	for _, s := range c.Stacks {
		trees = append(trees, s.Path)
	}
	if c.Warden != nil {
		trees = append(trees, c.Warden.Rootfs.Path)
	}
	trees = slices.DeleteFunc(trees, func(path string) bool { return path == "" })
	slices.Sort(trees)
	return slices.Compact(trees)
}

// stackUsers names those who use the stack of a name, below the node's state folder.
func (c Config) stackUsers(file, name string) ([]string, error) {
	var users []string
	is := c.isTree(name)
	if c.NamesStack(name) {
		users = append(users, file+" names it")
	}
	specs, err := box.Intents(c.Node.State)
	if err != nil {
		return nil, fmt.Errorf("agent: who uses the stack %s: %w", name, err)
	}
	for _, spec := range specs {
		if slices.ContainsFunc(spec.Rootfs.Layers, is) ||
			slices.ContainsFunc(spec.Rootfs.Binds, func(b isolation.Bind) bool { return is(b.Source) }) {
			users = append(users, tenantOf(spec))
		}
	}
	return users, nil
}

func tenantOf(spec isolation.Spec) string {
	if spec.Owner == isolation.OwnerInstance {
		return fmt.Sprintf("container %s of the instance %s", spec.ID, spec.Tenant)
	}
	return fmt.Sprintf("container %s of the owner %s", spec.ID, spec.Owner)
}
