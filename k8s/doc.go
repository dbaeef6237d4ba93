// Package k8s holds no code: how Tidings runs on Kubernetes, and the tests of that.
//
// In go the manifests in base/, components/ and overlays/, the Dockerfile, and README.md, the operator's book. The tests render
// every overlay as kubectl does, decode it strictly, and hold it against the real binary: its settings, ports, paths and metrics.
package k8s
