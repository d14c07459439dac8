//go:build !race

package ngrok_test

const raceEnabled = false
