// An app without any SDK, in another language; its subscription stands in YAML.
const fs = require('node:fs')
const http = require('node:http')

http.createServer(async (request, response) => {
  if (request.method !== 'POST' || request.url !== '/handed') return response.writeHead(404).end()
  const parts = []
  for await (const part of request) parts.push(part)
  const event = JSON.parse(Buffer.concat(parts))
  fs.appendFileSync(process.env.OUT, JSON.stringify({ id: event.id, n: event.data.n, pid: process.pid }) + '\n')
  response.end()
}).listen(process.env.APP_PORT, 'localhost')
