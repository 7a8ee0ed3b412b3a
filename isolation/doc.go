// Package isolation says, as plain data, what a container is made of and what
// was observed of it. The packages below it are reversible acts on the Linux
// kernel; isolation/box alone knows their order.
//
// Three rules hold for every act:
//
//   - acts come in pairs (Create/Remove, Mount/Unmount, Attach/Detach);
//   - each is safe to repeat: making what exists and removing what is gone
//     both succeed;
//   - every kernel name follows from slot and epoch (isolation/slot), so what
//     a dead agent left behind is found without any memory of it.
//
// Nothing here knows actors, messages or configuration.
package isolation
