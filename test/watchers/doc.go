// Package watchers has the programs that watch clusters, as Debian packages them, watch
// one of Holdfast while it fails: Prometheus scrapes every node over TLS by the rules and
// the expressions of the dashboard, Icinga runs holdfast check, and the Zabbix agent
// answers by the user parameters and what the template makes of them. All three see the
// same faults of one demo cluster, a takeover among them.
//
// Rules wait for minutes before they speak. Here each minute is a second: every `for` and
// every range of a rule is divided by 60 (scale), an hour of waiting is 20 s (patience), and so
// is what a fault has to last.
package watchers
