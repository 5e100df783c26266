import { wireSuite } from './wire.suite.js';

wireSuite('in-place');
