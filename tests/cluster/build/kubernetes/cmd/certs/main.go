// certs makes every key, certificate and kubeconfig of one test cluster, fresh for each cluster, so that none lies in a repository.
//
//	certs -dir DIR -sans NAME,... -server URL -outside URL -nodes NAME=ADDRESS,...
package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"flag"
	"net"
	"strings"
)

func main() {
	dir := flag.String("dir", "pki", "directory to write")
	sans := flag.String("sans", "127.0.0.1", "addresses and names of the API server, comma separated")
	server := flag.String("server", "", "the API server's URL for the components")
	outside := flag.String("outside", "", "the API server's URL for the administrator")
	nodes := flag.String("nodes", "", "NAME=ADDRESS of each node, comma separated")
	flag.Parse()

	d := newDirectory(*dir)
	ca, frontProxyCA := d.root("ca"), d.root("front-proxy-ca")
	client := func(by *authority, name, commonName string, groups ...string) {
		d.issue(name, by, &x509.Certificate{
			Subject:     pkix.Name{CommonName: commonName, Organization: groups},
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
	}
	serving := func(name, commonName string, names ...string) {
		c := &x509.Certificate{
			Subject:     pkix.Name{CommonName: commonName},
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		for _, n := range names {
			if ip := net.ParseIP(n); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, n)
			}
		}
		d.issue(name, ca, c)
	}

	serving("apiserver", "kube-apiserver", append(strings.Split(*sans, ","), "localhost", "kubernetes", "kubernetes.default",
		"kubernetes.default.svc", "kubernetes.default.svc.cluster.local")...)
	client(ca, "apiserver-kubelet", "kube-apiserver-kubelet-client", "system:masters")
	client(frontProxyCA, "front-proxy", "front-proxy-client")
	d.root("service-account") // only its key is used

	client(ca, "admin", "kubernetes-admin", "system:masters")
	d.kubeconfig("admin", *outside, ca)
	for name, user := range map[string]string{
		"controller-manager": "system:kube-controller-manager",
		"scheduler":          "system:kube-scheduler",
		"kube-proxy":         "system:kube-proxy",
	} {
		client(ca, name, user)
		d.kubeconfig(name, *server, ca)
	}
	for _, node := range strings.Split(*nodes, ",") {
		name, address, _ := strings.Cut(node, "=")
		client(ca, "kubelet-"+name, "system:node:"+name, "system:nodes")
		d.kubeconfig("kubelet-"+name, *server, ca)
		serving("kubelet-server-"+name, "system:node:"+name, name, address)
	}
}
