// The same types for CommonJS.

import kubetether = require('kubetether');
import jest = require('kubetether/jest');
import nodeTest = require('kubetether/node-test');

const session: Promise<kubetether.Session> = kubetether.connect();
const kube: jest.Kube = nodeTest.useSession();
void [session, kube.session.namespace, jest.useSession];
