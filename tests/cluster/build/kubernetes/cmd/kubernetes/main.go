// All of Kubernetes in one static program, so that a node needs one file and the components share their pages in memory.
//
//	kubernetes apiserver|controller-manager|scheduler|kubelet|kube-proxy|kubectl|etcd ARGS...
//
// Called by one of these names (a link, as kubectl is), it is that component.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	_ "time/tzdata" // CronJobs name time zones, and a small machine has no table of them

	"github.com/spf13/cobra"

	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	components := map[string]func(){
		"apiserver":          func() { serve(apiserver.NewAPIServerCommand()) },
		"controller-manager": func() { serve(controllers.NewControllerManagerCommand()) },
		"scheduler":          func() { serve(scheduler.NewSchedulerCommand()) },
		"kubelet":            func() { serve(kubelet.NewKubeletCommand(context.Background())) },
		"kube-proxy":         func() { serve(proxy.NewProxyCommand()) },
		"kubectl":            runKubectl,
		"etcd":               runEtcd,
	}
	run, known := components[filepath.Base(os.Args[0])]
	if !known && len(os.Args) > 1 {
		run, known = components[os.Args[1]]
		os.Args = os.Args[1:]
	}
	if !known {
		fmt.Fprintln(os.Stderr, "usage: kubernetes apiserver|controller-manager|scheduler|kubelet|kube-proxy|kubectl|etcd ARGS...")
		os.Exit(2)
	}
	run()
}

func serve(command *cobra.Command) { os.Exit(cli.Run(command)) }

func runKubectl() {
	logs.GlogSetter(kubectl.GetLogVerbosity(os.Args)) //nolint:errcheck // a bad -v is reported by the flag parser below
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}
