// Exits 0 if something listens at the host and port of the URL.
import { connect } from 'node:net'

const url = new URL(process.argv[2] ?? '')
const socket = connect({ host: url.hostname, port: Number(url.port), timeout: 2_000 })
socket.on('connect', () => process.exit(0))
socket.on('error', () => process.exit(1))
socket.on('timeout', () => process.exit(1))
