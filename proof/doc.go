// SPDX-License-Identifier: Apache-2.0

// Package proof is the roof over what shows that the product does what it says,
// and ships with none of it:
//
//	e2e         the plugin in real engines, pushing to real receivers, as a user has it
//	chaos       the program under kills, outages and clock steps, compared sample by sample
//	oracle      what a scraping Prometheus stores of a target beside what the program pushes
//	bench       this program beside its peers: processor time, memory, disk, wire
//	fleetsim    ten thousand hosts and their receivers on a virtual clock
//	engine      starts and ends private Docker Engines and their plugins
//	promtest    starts real receivers, writes to them and asks them
//	faultproxy  a receiver's network that fails on demand
//	cloudtest   stand-ins for the clouds' identity services and receivers
//	machine     an emulated machine and its agent
//	hops        DESIGN.md's table of a sample's way, against what runs
//	cmd         the commands bench-peers, fleet, soak and vm
//
// Nothing of the product imports it but its tests.
package proof
