// Receives messages of a webhook subscription: SECRET=whsec_... node webhook-receiver.mjs
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'

const key = Buffer.from(process.env.SECRET.replace(/^whsec_/, ''), 'base64')
const seen = new Set() // in earnest: a table with a unique key

function isOurs(headers, body) {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures = '' } = headers
  if (!id || !(Math.abs(Date.now() / 1000 - Number(timestamp)) < 300)) return false
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest()
  return signatures.split(' ').some((signature) => {
    const given = Buffer.from(signature.replace(/^v1,/, ''), 'base64')
    return given.length === expected.length && timingSafeEqual(given, expected)
  })
}

const server = createServer((request, response) => {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    const body = Buffer.concat(chunks)
    if (!isOurs(request.headers, body)) return response.writeHead(401).end()
    const id = request.headers['webhook-id']
    if (!seen.has(id)) console.log(JSON.parse(body).type, id)
    seen.add(id)
    response.writeHead(204).end()
  })
})
server.listen(Number(process.env.PORT ?? 9000), () => console.log(`listening on ${server.address().port}`))
