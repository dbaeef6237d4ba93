package k8s

import (
	"path/filepath"
	"reflect"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// object is one of a rendered overlay.
type object struct {
	metav1.Object        // its metadata
	kind          string // such as Deployment
	typed         any    // a pointer to its type
	yaml          []byte
}

func (o object) String() string { return o.kind + " " + o.GetName() }

// rendered are the objects of one overlay.
type rendered []object

// overlays are the names of all there are.
func overlays(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("overlays/*")
	if err != nil || len(dirs) < 3 {
		t.Fatalf("got overlays %v, %v, want three or more", dirs, err)
	}
	for i, d := range dirs {
		dirs[i] = filepath.Base(d)
	}
	return dirs
}

// forEach runs check for each overlay.
func forEach(t *testing.T, check func(t *testing.T, all rendered)) {
	t.Helper()
	for _, name := range overlays(t) {
		t.Run(name, func(t *testing.T) { check(t, render(t, name)) })
	}
}

var renders sync.Map // name → func() (rendered, error)

// render is what `kubectl kustomize k8s/overlays/<name>` makes, decoded. It is made once, and not to be modified.
func render(t *testing.T, name string) rendered {
	t.Helper()
	once, _ := renders.LoadOrStore(name, sync.OnceValues(func() (rendered, error) { return build(filepath.Join("overlays", name)) }))
	all, err := once.(func() (rendered, error))()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func build(dir string) (rendered, error) {
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, err
	}
	var all rendered
	for _, r := range made.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			return nil, err
		}
		o, err := decode(text)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// each are the objects of type T.
func each[T any](all rendered) []*T {
	var list []*T
	for _, o := range all {
		if v, ok := o.typed.(*T); ok {
			list = append(list, v)
		}
	}
	return list
}

// one is the object of type T with this name.
func one[T any](t *testing.T, all rendered, name string) *T {
	t.Helper()
	for _, o := range all {
		if v, ok := o.typed.(*T); ok && o.GetName() == name {
			return v
		}
	}
	t.Fatalf("there is no %s %q", reflect.TypeFor[T]().Name(), name)
	return nil
}
