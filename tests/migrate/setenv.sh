#!/bin/sh
# Environment of Tomcat for Connected-KMS.
JAVA_HOME="/usr/lib/jvm/jre"
CATALINA_OPTS="-Xms512m -Xmx2g -XX:+UseG1GC"
#JAVA_OPTS="{JAVA_OPTS} -Djgroups.tcp.address=<ipAddress> -Djgroups.tcp.port=<portNum>"
#JAVA_OPTS="{JAVA_OPTS} -Djgroups.tcp.address=old.AcmeXYZ.com"
JAVA_OPTS="{JAVA_OPTS} -Djgroups.tcp.address=kms1.AcmeXYZ.com"
ulimit -n 65536
