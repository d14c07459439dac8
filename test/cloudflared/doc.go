// Package cloudflared holds the gateway's Cloudflare driver against the genuine cloudflared, which connects to an edge of
// ours. It needs the program: CLOUDFLARED_BIN, else PATH. Where it is not there, services/gateway/cloudflare has tested
// the driver with a stand-in, and the tests here say that they are skipped.
//
// It is a module of its own so that nothing else depends on Cap'n Proto, which the edge speaks.
package cloudflared
