// Package doctor says what this machine can enforce, and how to mend what it can't,
// without an agent: by the code that the agent itself stands on where that changes
// nothing, and in a network namespace, a folder or a process of its own where it
// would. Whatever it makes to see whether it can be made is gone when it returns.
package doctor
