// Package signers holds the listener's verifiers against the official SDKs of the providers: what an SDK signs or accepts
// must be accepted, and what it refuses must be refused.
//
// It is a module of its own so that nothing else depends on the SDKs. stripe-go is at an older major, whose signing is the
// same and which compiles in a fifth of the time.
package signers
