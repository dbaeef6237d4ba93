// Package admin is the address for operators and Kubernetes: probes, metrics, profiles, and pages that others add with Handle. Requests
// enter; who may have what is decided in one place (guard), for all of it.
package admin
