//go:build race

package ngrok_test

const raceEnabled = true
